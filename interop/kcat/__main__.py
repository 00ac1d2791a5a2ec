"""kcat, step by step."""

from interop.kcat.client import Kcat
from interop.shared.walk import main

if __name__ == "__main__":
    main(Kcat)
