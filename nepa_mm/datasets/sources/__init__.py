"""Where images come from: folders, lists, datasets of Hugging Face."""
