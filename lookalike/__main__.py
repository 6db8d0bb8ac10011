"""`python -m lookalike` is `lookalike`."""

from lookalike.main import main

if __name__ == "__main__":
    main()
