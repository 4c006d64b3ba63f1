"""Options, ini keys and fixtures; what they are made of is in the modules beside this one."""
