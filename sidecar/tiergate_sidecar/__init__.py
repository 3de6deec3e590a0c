"""tiergate as a process of its own: the command line, the server, fake providers to try it with.

Uses only the public names of `tiergate`. There is nothing to import from here.
"""
