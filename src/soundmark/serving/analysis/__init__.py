"""An upload → results, by the inference of ``classify``.

Python runs one thread of a process at a time, so threads that analyse short sounds wait for each other and for the
event loop: a process per core analyses these. A long sound is decoded by a process and scored by threads, and its
results are sent while they are computed. In reading order:

    upload_analysis  the file of an upload → its result, under the name of the upload
    worker           the process that analyses short sounds
    short_sounds     answers of such processes
    analyzer         an upload → an answer, or results while they are computed
"""
