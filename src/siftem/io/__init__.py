"""Files and foreign objects: the only home of HyperSpy and RosettaSciIO."""
