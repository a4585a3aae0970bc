"""What a model is given besides images and classes: captions, utterances and label maps, as files of a split.

`table` is their list with checksums, `files` their formats, `speech` the synthesiser; `making` and `checking`
serve `kdx2i split`; `reading`, which alone imports torch, hands them to training and evaluation.
"""
