"""Export a classifier, a feature extractor or a segmentor by torch.export (.pt2), and check it against torch.

The number of images is dynamic; --dynamic-shape makes their size so. docs/export.md has examples.
"""
from nepa_mm.arguments import parse_export
from nepa_mm.errors import one_line_errors

if __name__ == '__main__':
    with one_line_errors():
        args = parse_export(__doc__, '.pt2')
        from nepa_mm.deployment.files import export  # with torch
        print(export(args))
