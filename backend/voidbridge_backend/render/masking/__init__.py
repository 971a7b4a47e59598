"""Mattes of objects for the operation `mask`: kept over a shot, found by rules, combined and encoded."""
