"""The RDB format of single values: the payload of DUMP and RESTORE.

``crc64`` and ``lzf`` are algorithms, ``wire`` reads and writes lengths and strings, ``packed`` the
compact encodings (listpack, ziplist, intset), and the other modules one type each. Nothing here
depends on databases or commands.
"""
