"""What the pages share on the side of Streamlit: the frame, widgets and charts."""
