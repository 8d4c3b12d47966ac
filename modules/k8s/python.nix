# Python with PyYAML, which documents.py reads YAML with. A package set that wraps the host's tools has it in its Python.
{ pkgs }: (pkgs.python3.withPackages or (_: pkgs.python3)) (python: [ python.pyyaml ])
