"""aiokafka, step by step."""

from interop.aiokafka.client import Aiokafka
from interop.shared.walk import main

if __name__ == "__main__":
    main(Aiokafka)
