"""From maps to regions: traces, features, classifier, graph cut, region algebra."""
