"""The algorithms of a 3x3 convolution, side by side behind one signature.

Each is a module with

* `pack(kernel, bias, layer)`: the weights as it multiplies them; kernel (3, 3, in, out) and bias (out,) in float64;
* `new_map(layer, windows, arena)`: an input map in the layout that it wants, see `maps`;
* `strips(layer)`: slices of the rows, the strips in which it goes through a map; threads share strips;
* `scratch_size(layer, windows)`: floats of work space that a strip needs;
* `record(tape, layer, x, out, scratch, strip)`: records a strip of the map `x` and what follows it into the map `out`.

`direct` is the definition, and the reference of the others; the tests compare all of them with float64. Every product
and sum belongs to one window, and one window alone determines its shape, so it has the same bytes in any batch. Only
`quads` takes windows together: it is for whole numbers, whose sums are exact. `patches` takes kernels of any size. With
it and `rows`, a map may go on where the last one ended (`running`): both read the rows above and below it like others.
"""

from . import direct, patches, quads, rows, sparse, winograd

ALGORITHMS = {
    "direct": direct,
    "patches": patches,
    "quads": quads,
    "rows": rows,
    "sparse": sparse,
    "winograd": winograd,
}
