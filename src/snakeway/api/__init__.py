"""The HTTP API: one controller and its structs per noun; each turns rows into one shape per noun.

``problems`` decides how errors look, ``access`` who gets in, ``files`` how files are sent, ``document`` what the
OpenAPI document says. Times are RFC 3339 in UTC; members that end in ``_s`` are seconds, in ``_bytes`` bytes.
"""
