"""The RDB format, as far as one value at a time needs it: the payload of DUMP and RESTORE.

``crc64`` and ``lzf`` are the two algorithms, ``wire`` reads and writes lengths and strings,
``packed`` the compact forms inside strings (listpack, ziplist, intset), ``values`` and ``streams``
whole values. Nothing here knows a database or a command.
"""
