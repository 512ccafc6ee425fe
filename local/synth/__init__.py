"""What recipes of synthetic speech share: eSpeak NG, its voices, rooms and noise, the corpus.

A recipe's local/manifests.py puts the directory `local` at the top of the repository on sys.path
and imports from here; nothing here is true of one corpus alone.
"""
