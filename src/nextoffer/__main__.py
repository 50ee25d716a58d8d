"""`python -m nextoffer`."""

from nextoffer.cli import main

if __name__ == "__main__":
    main()
