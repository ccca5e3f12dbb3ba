"""A person's own data: what lies in a folder, which settings fit it, and the config that says so."""
