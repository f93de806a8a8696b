"""Electron energy loss: noise, background, edges, anchors on edges, elemental ratios.

Decomposition, segmentation, region algebra and integration are those of every spectrum image;
what differs from X-rays is here. All energies are in the unit of the spectrum's axis.
"""
