"""Helpers that the modules share."""
