"""Decoding of rows into the types of readers."""
