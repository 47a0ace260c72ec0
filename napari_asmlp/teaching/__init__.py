"""Teaching from a few annotated voxels: a first answer within seconds, better ones after it.

A light learner labels voxels by what filters of several scales, the voxel's place and, where the
package has it, a network that knows anatomy and shapes (`encoder`) say about them. Behind it an
AS-MLP is taught, that very one or a new one.
`loop.iter_teach` runs both; what comes out of it to keep is a model file like any other.
"""
