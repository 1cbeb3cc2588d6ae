"""The web end: faces browsers, and only ever stores."""
