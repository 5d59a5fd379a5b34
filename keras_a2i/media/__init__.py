"""Reading and writing audio, images and video files, and converting their samples. No TensorFlow."""
