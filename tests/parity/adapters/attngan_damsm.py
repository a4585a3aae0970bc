"""DAMSM: text and image encoder, attention, loss with gradients, and the words of captions."""

import torch

from kdx2i.encoders.damsm.image_encoder import CNNEncoder
from kdx2i.encoders.damsm.losses import Encoded, Sharpness, damsm_loss, func_attention, words_loss
from kdx2i.encoders.damsm.official import encoder_state
from kdx2i.encoders.damsm.text_encoder import RNNEncoder
from kdx2i.encoders.damsm.vocabulary import Vocabulary, indices, tokenise

from ..subject import ModuleSubject

RNN_SIZES = {
    "ninput": 300, "drop_prob": 0.5, "nhidden": 128, "nlayers": 1, "bidirectional": True, "rnn_type": "LSTM",
}  # fmt: skip
"""What a config may say beside the number of words, with the official defaults."""


class Encoder(ModuleSubject):
    """An encoder, loaded as the published files are: without the counters of batches."""

    def load(self, state):
        kept = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
        self.module.load_state_dict(encoder_state(kept, self.module))

    @torch.no_grad()
    def run(self, inputs):
        given = [inputs[item] for item in inputs]
        if isinstance(self.module, RNNEncoder):
            words, sentences = self.module(*given)
            return {"words_emb": words, "sent_emb": sentences}
        names = {key for key in self.output_keys if key in dict(self.module.named_modules())}
        with self.recording(names) as recorded:
            features, code = self.module(*given)
        return {**recorded, "features": features, "cnn_code": code}


class Function:
    """A function without state."""

    def __init__(self, function, entry):
        self.function, self.entry = function, entry

    def state(self):
        return {}

    def param_count(self):
        return 0

    def load(self, state):
        assert not state

    def run(self, inputs):
        given = {name.rsplit(".", 1)[-1]: value for name, value in inputs.items()}
        return self.function(self.entry.get("config", {}), given)


def attention(config, given):
    weighted, attn = func_attention(given["query"], given["context"], config["gamma1"])
    return {"weighted_context": weighted, "attn": attn}


def loss(config, given):
    learned = ("region_features", "words_emb", "cnn_code", "sent_emb")
    leaves = [given[name].requires_grad_() for name in learned]
    regions, words, codes, sentences = leaves
    encoded = Encoded(regions, codes, words, sentences, given["cap_lens"])
    gamma = Sharpness(config["gamma1"], config["gamma2"], config["gamma3"])
    named = {"w_loss0": "words0", "w_loss1": "words1", "s_loss0": "sentence0", "s_loss1": "sentence1"}
    terms = damsm_loss(encoded, given["class_ids"], gamma, config["lambda"])
    unmasked = damsm_loss(encoded, None, gamma, config["lambda"])
    outputs = {"total": terms["total"]} | {key: terms[name] for key, name in named.items()}
    outputs |= {f"{key}_nomask": unmasked[name] for key, name in named.items()}
    gradients = torch.autograd.grad(terms["total"], leaves)
    outputs |= {f"grad:{name}": gradient for name, gradient in zip(learned, gradients, strict=True)}
    maps = words_loss(regions, words, given["cap_lens"], None, gamma)[2]
    return outputs | {f"att_map{number}": attention for number, attention in enumerate(maps)}


def texts(config, given):
    """The first two captions with words are those of the training images, the others of the test images."""
    tokens = [words for words in map(tokenise, given["caption_file_lines"]) if words]
    vocabulary = Vocabulary.of(given["caption_file_lines"])
    numbered = [indices(words, vocabulary.numbers) for words in tokens]
    table = {str(number): word for number, word in enumerate(vocabulary.words)}
    described = {"train": "first two token lists", "test": "the rest", "ixtoword": table}
    described |= {"train_indices": numbered[:2], "test_indices": numbered[2:], "n_words": len(vocabulary)}
    return {"tokens": tokens, "vocabulary": described}


FUNCTIONS = {"func_attention": attention, "words_loss, sent_loss": loss}
FUNCTIONS["TextDataset.load_captions, build_dictionary"] = texts


def build(module, entry):
    config, kind = entry.get("config", {}), entry["class"]
    if kind == "RNN_ENCODER":
        sizes = RNN_SIZES | {key: value for key, value in config.items() if key in RNN_SIZES}
        return Encoder(RNNEncoder(config["ntoken"], **sizes), entry)
    if kind == "CNN_ENCODER":
        return Encoder(CNNEncoder(config["nef"]), entry)
    return Function(FUNCTIONS[kind], entry)


def paper_entries(paper):
    for module, entry in paper["modules"].items():
        yield module, module, entry
