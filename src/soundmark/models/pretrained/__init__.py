"""Pretrained networks as ONNX graphs, built from their released weights without torch; models by name.

    .pt file (weights) ─ pytorch_file ─▶ tensors ─ mobilenet ─▶ graph ─▶ .onnx

In reading order:

    weights        pretrained weights: found on disk or downloaded, and verified
    pytorch_file   read the tensors of a PyTorch file as data
    graph          write an ONNX graph node by node
    mobilenet      EfficientAT's MobileNetV3: mn04 and mn10
    backbone       frozen networks from a spectrogram to the features of a linear head
    backbone_file  backbones from ONNX files of any program
    hub            models on the Hugging Face Hub: hf://user/name
    model_parts    the backbone of a model; scores of embeddings
    named_models   load a model by name or by path: load("audioset")
    speech         whether a sound contains speech
"""
