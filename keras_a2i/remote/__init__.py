"""Object stores (S3, Google Cloud Storage, the Hugging Face hub and others) through fsspec.

Everything else of the library works on local files. What is read is fetched first, what is written is built locally
and uploaded file by file:

- `address`: one function, `as_location`, tells an address such as "s3://bucket/records" from a path of the disk.
- `store`: the few things that are done with an address, and one place that turns the errors of stores into sentences.
- `copies`: local copies of files and folders in a cache folder, fetched again when the object changes.
- `lock`: an object that keeps a second process from writing into the same folder.
- `mirror`: a local folder whose finished files are uploaded, for run folders.

A source lists a folder of a store and fetches its files one at a time, which are deleted after use
(`keras_a2i.sources.files`). The shards of records are fetched once and stay in the cache. A build uploads every shard
when it is finished, the manifest last (`keras_a2i.records.build_output`). A run uploads its state after every save and
`model.keras` at the end (`keras_a2i.training.run_folder`). A store shows an object when it is complete, so that
nothing half-written appears under its name.
"""
