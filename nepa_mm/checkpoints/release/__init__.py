"""The authors' format: its folders, config.json and preprocessor_config.json."""
