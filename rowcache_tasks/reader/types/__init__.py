"""Types of rows: dictionaries, dataclasses, TypedDicts, msgspec Structs and mapped classes."""
