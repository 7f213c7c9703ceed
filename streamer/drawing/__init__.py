"""The annotated picture: overlay draws it out of stencils, and shades what is hidden of a face."""
