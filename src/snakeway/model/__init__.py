"""Rules of the nouns: enums and pure functions, no I/O, so that every move can be tested exhaustively."""
