"""Files on a disk: read without running their code, written so that none is lost."""
