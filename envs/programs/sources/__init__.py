"""Where programs come from besides those that are bundled: each scheme's ``select`` gives sources for its URIs.

==================================  ====================================================================================
``debian``, ``pypi``                URIs of packages; ``packages`` builds one, with a report and a file of programs
``archive``, ``headers``            what apt fetches; ``paragraphs`` and ``versions`` are Debian's notations
``sdists``, ``sdist_metadata``      what pip's index offers
``tree``, ``configuration``         a package's files and includes, and the headers that configuring would have made
``units``, ``own_build``            bitcode of units, one by one or by the package's own build; ``licenses`` of each
``suites``, ``suite_table``         CompilerGym's published suites
``hub``, ``generators``, ``files``  ComPile; csmith and llvm-stress; the user's files
``fetching``, ``unpacking``         verified downloads, and archives that nobody vouches for
==================================  ====================================================================================
"""
