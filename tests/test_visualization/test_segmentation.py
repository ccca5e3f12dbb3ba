import numpy as np

from nepa_mm.visualization import draw_segmentation


def test_labels_get_the_colours_of_the_palette_and_unlabelled_pixels_white():
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    labels, prediction = np.array([[0, 1], [1, 255]]), np.array([[1, 1], [0, 0]])
    figure = draw_segmentation([(image, labels, prediction)], ['wall', 'sky'], [[9, 8, 7], [1, 2, 3]])
    truth, predicted = (np.asarray(axis.images[0].get_array()) for axis in figure.axes[1:3])
    assert truth.tolist() == [[[9, 8, 7], [1, 2, 3]], [[1, 2, 3], [255, 255, 255]]]
    assert predicted[0].tolist() == [[1, 2, 3], [1, 2, 3]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['wall', 'sky']
