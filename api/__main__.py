"""`python -m api`: the same as the command `sendopt`."""

from api.commands.main import main

if __name__ == "__main__":
    main()
