"""Early models of the lecture: Grossberg's clusters, Hamming net, von der Malsburg's sheet, cognitron."""
