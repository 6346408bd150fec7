"""Everything a device needs: images, bundles, galleries, recognition; NumPy and one backend, never torch."""
