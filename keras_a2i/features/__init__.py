"""Features of audio in NumPy, so that workers run without TensorFlow."""
