"""Fit a linear head on the features of a frozen backbone, without torch.

    clips ─ embeddings ─▶ features ─ linear_head ─▶ head ─ calibration ─▶ TransferModel ─ head_graph ─▶ graph

In reading order:

    backgrounds    sounds that are none of the classes, and which of them suit a data set
    partial_views  clips as the windows of a long recording contain them
    embeddings     the features of clips and of backgrounds
    linear_head    linear discriminant analysis with shrinkage
    head_graph     add a head to the graph of a backbone
    head_training  fit and calibrate a head
    head_stages    heads of growing training sets, on recordings that none of them was fitted on
"""
