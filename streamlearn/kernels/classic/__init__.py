"""The early models of the lecture: Grossberg's clusters, the Hamming net, von der Malsburg's sheet, the
cognitron; and the plane of locally connected cells that the last two share."""
