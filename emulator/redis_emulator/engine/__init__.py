"""The order in which things happen: dispatch, admission, waiting, accounting."""
