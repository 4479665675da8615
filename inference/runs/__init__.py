"""One run, for all who run: what it is (``RunSpec``), and where it is kept."""
