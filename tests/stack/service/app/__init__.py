"""The demo service that the runbooks of this repository are proved on."""
