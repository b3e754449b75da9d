"""Owns the processes of attempts: starts them, watches them, takes them over after a crash, stops them."""
