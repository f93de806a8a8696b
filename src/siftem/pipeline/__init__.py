"""The recipe and the road: the only joiner of decompose, segment, unmix and quantify."""
