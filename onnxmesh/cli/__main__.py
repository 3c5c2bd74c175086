"""`python -m onnxmesh.cli`: the command line without the console script."""

from onnxmesh.cli import main

if __name__ == "__main__":
    main()
