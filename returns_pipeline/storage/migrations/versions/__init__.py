"""One module a movement of the schema, numbered, frozen once released."""
