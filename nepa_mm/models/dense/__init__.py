"""Dense prediction: pyramids and segmentors over NEPA backbones."""
