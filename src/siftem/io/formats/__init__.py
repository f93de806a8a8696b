"""What siftem knows of single vendors' files, one module each.

HyperSpy and RosettaSciIO read most of them as they are; a module stands here where more is needed
than their reader does. `siftem.io.formats.known` lists them.
"""
