"""The paths of the server, one file per tab of the page. Each file has a list ``ROUTES``.

In reading order:

    context        what the routes share: model, analyzer, limits, metrics
    openapi_parts  parts of the OpenAPI document that several tabs share
    teach_paths    the paths of the Teach tab in the OpenAPI document
    openapi        the OpenAPI document
    status         health, metrics, the OpenAPI document, and the session of a browser
    model          the Model tab: the card of the model
    classify       the Classify tab: uploads
    live           the Live tab: the WebSocket
    archives       windows of archives: sound and spectrogram
    review         the Review tab: decisions about windows, and thresholds
    teach          the Teach tab: labels, retraining, models
    page           the files of the page

To add a tab, add a file with its routes, a line to ``all_routes``, and its paths to ``openapi``.
"""
