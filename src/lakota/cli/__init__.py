"""The command line: verbs over the library, and nothing that is only here.

```
text, formats, query, plot, graph, folders, progress, remotes, trial      what verbs have in common
labels -> shell -> the verbs -> app
```

`app.run` takes the words of a command line and returns its exit code. Modules of verbs import what
is heavy when a verb runs, so that help and completion start quickly.
"""
